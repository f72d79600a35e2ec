"""Games: units are moves. So far the boards; :mod:`heedful.domains.games.boards`."""
