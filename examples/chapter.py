"""The textbook chapter's listing on one page of plain torch, its slips corrected where they stood.

One head predicts answers, p(y_i | x_<=i, y_<i); the other chooses items, p(x_i | x_<i, y_<i).
"""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.tensorboard import SummaryWriter  # Slip: there is no `tensorboard.SummaryWriter`.

from heedful.domains.recommendation.shop import ShopEnv, ShopParameters

ITEMS, STEPS = 50, 30
SHOP = ShopParameters(items=ITEMS, slate=1)
LOG_H = torch.tensor(1 / ITEMS).log()  # h, who makes the log, is uniform: see policy_head


class Recommender(nn.Module):
    """What is known of a person, and two heads. Slip: one M was a distribution and a click rate."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.event = nn.Embedding(2 * ITEMS, width)  # an item and the answer to it
        self.rnn = nn.GRUCell(width, width)
        self.policy_head = nn.Linear(width, ITEMS)
        nn.init.zeros_(self.policy_head.weight)
        nn.init.zeros_(self.policy_head.bias)
        self.item = nn.Embedding(ITEMS, width)
        self.click_head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def start(self, people: int) -> Tensor:
        """Return [B, D]. Slip: the state was on the CPU, for a full batch; it follows both."""
        return self.event.weight.new_zeros(people, self.rnn.hidden_size)

    def read(self, state: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the state after items x [B] and the answers y [B] to them."""
        return self.rnn(self.event(x + ITEMS * y.long()), state)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(. | x_<i, y_<i), [B, T, V], and logits of p(y_i | x_<=i, y_<i), [B, T]."""
        # Slip: y_{i-1} was the data row before, of whomever. Here a row is one person's past.
        states = [self.start(len(x))]
        for i in range(x.shape[1] - 1):
            states.append(self.read(states[-1], x[:, i], y[:, i]))
        past = torch.stack(states, dim=1)
        click = self.click_head(torch.cat([past, self.item(x)], dim=-1))[..., 0]
        return self.policy_head(past).log_softmax(-1), click


def reward(y: Tensor) -> Tensor:
    """Return r_i. Slip: it was undefined, or the policy's own estimate; this one people gave."""
    return y


def losses(log_p: Tensor, click: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of the click head (Slip: it was called the RL loss) and of the policy."""
    supervised = binary_cross_entropy_with_logits(click, y)
    log_p = log_p.gather(-1, x[..., None])[..., 0]
    # Slip: E[sum log M(x_i)] has no reward in it and clones the log. The gradient of E[R] is
    # E[(R - b) grad log p], times p / h because h acted, capped; an item answers for itself.
    weight = (log_p.detach() - LOG_H).exp().clamp(max=5.0)
    gain = (weight * (reward(y) - reward(y).mean()) * log_p).mean()
    # Slip: BCE + reward, inputs times targets. It has no gradient, and reward is not minimised.
    return supervised, -gain


@torch.no_grad()
def visit(model: Recommender, people: int, seed: int) -> tuple[Tensor, Tensor]:
    """Let ``model`` show people STEPS items each; return the items and the clicks, both [B, T]."""
    shop, rng = ShopEnv(people, SHOP), torch.Generator().manual_seed(seed)
    shop.reset(seed=seed)
    state, x, y = model.start(people), [], []
    for _ in range(STEPS):
        x.append(torch.multinomial(model.policy_head(state).softmax(-1), 1, generator=rng))
        y.append(torch.from_numpy(shop.step(x[-1].numpy())[1]).float())
        state = model.read(state, x[-1][:, 0], y[-1])
    return torch.cat(x, dim=1), torch.stack(y, dim=1)


def auc(score: Tensor, y: Tensor) -> float:
    """Return the probability that a click scores above a silence."""
    clicked, n = y.flatten()[score.flatten().argsort()] > 0, y.sum().item()
    return (torch.nonzero(clicked).sum().item() - n * (n - 1) / 2) / (n * (y.numel() - n))


def main(people: int = 3000, epochs: int = 24, runs: Path | None = None) -> None:
    """Log, split, train with validation after every epoch, and go back to the shop."""
    runs = runs or Path(tempfile.mkdtemp(prefix="chapter-"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Recommender()
    x, y = visit(model, people, seed=0)
    cut = people * 4 // 5  # Slip: everything was trained on, then split. Split first, by person.
    x, new_x, y, new_y = x[:cut], x[cut:], y[:cut], y[cut:]
    constant = torch.full_like(new_y, y.mean()).logit()
    print(f"click rate before  {visit(model, 1000, seed=1)[1].mean():.4f}")
    print(f"constant  log-loss {binary_cross_entropy_with_logits(constant, new_y):.4f}  AUC 0.5000")
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with SummaryWriter(runs) as board:  # Slip: logged after training. Live: see it while it learns.
        for epoch in range(1, epochs + 1):
            for rows in torch.randperm(len(x)).split(100):
                optimiser.zero_grad()
                sum(losses(*model(x[rows], y[rows]), x[rows], y[rows])).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
            with torch.no_grad():  # Slip: nothing was validated, and what was logged had gradients.
                log_p, click = model(new_x, new_y)
                log_loss, area = losses(log_p, click, new_x, new_y)[0].item(), auc(click, new_y)
            board.add_scalar("log-loss", log_loss, epoch)
            board.add_scalar("AUC", area, epoch)
            print(f"epoch {epoch:2}  log-loss {log_loss:.4f}  AUC {area:.4f}")
    print(f"click rate after   {visit(model, 1000, seed=1)[1].mean():.4f}")
    print(f"curves: tensorboard --logdir {runs}")


if __name__ == "__main__":
    main()
