"""Write a file of ratings by simulated people, to try heedful on."""

import csv
import sys
from pathlib import Path

from heedful.domains.recommendation.shop import ShopParameters, visits


def main(file: Path, people: int = 1000, each: int = 20) -> None:
    """Write ``people`` x ``each`` rows in MovieLens' columns, which heedful recognises."""
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["userId", "movieId", "rating", "timestamp"])
        for row in visits(ShopParameters(), people, each, seed=0):
            rows.writerow([row.user, row.item, row.rating, row.time])
    print(f"{people * each:,} ratings in {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ratings.csv"))
