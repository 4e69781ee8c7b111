"""Ratings for the demo: fetch.py FOLDER writes ratings.csv, movies.csv and
users.csv there and prints where they come from.

MovieLens-100K is taken out of the Python package recbole (its licence forbids
passing it on, so it is in no repository). Where that cannot be had, ratings
with the same shape are generated: users and films with tastes in a few
dimensions, films of unequal popularity, ratings from 1 to 5. Standard library
only, seeded."""

import csv
import glob
import io
import math
import os
import random
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "recbole==1.2.1"
MEMBER = "recbole/dataset_example/ml-100k/ml-100k."
USERS, FILMS, RATINGS = 943, 1682, 100000
GENRES = ("Action Adventure Animation Comedy Crime Documentary Drama Fantasy "
          "Horror Musical Mystery Romance Sci-Fi Thriller War Western").split()


def fetch(folder):
    """The package's three files, as lists of rows of text."""
    names = ("inter", "item", "user")
    if not all(os.path.exists(f"{folder}/ml-100k.{n}") for n in names):
        with tempfile.TemporaryDirectory() as temp:
            subprocess.run(
                [sys.executable, "-m", "pip", "-q", "download", "--no-deps",
                 "--retries", "1", "-d", temp, PACKAGE],
                check=True, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            wheel = zipfile.ZipFile(glob.glob(temp + "/recbole*.whl")[0])
            for n in names:
                with open(f"{folder}/ml-100k.{n}", "wb") as f:
                    f.write(wheel.read(MEMBER + n))
    out = []
    for n in names:
        with open(f"{folder}/ml-100k.{n}", encoding="utf8") as f:
            out.append([line.rstrip("\n").split("\t")
                        for line in f.readlines()[1:] if line.strip()])
    inter, item, user = out
    ratings = [[int(float(x)) for x in row] for row in inter]
    movies = [[int(i), f"{title} ({year})" if year else title,
               int(year) if year.isdigit() else None, genres]
              for i, title, year, genres in item]
    users = [[int(u), int(age), gender, occupation, place]
             for u, age, gender, occupation, place in user]
    return ratings, movies, users


def generate():
    """The same three, made up."""
    g = random.Random(42)
    dims = 6
    genre_taste = {x: [g.gauss(0, 1) for _ in range(dims)] for x in GENRES}
    movies, taste, bias, weight = [], [], [], []
    for i in range(FILMS):
        genres = g.sample(GENRES, 1 + int(g.random() * 3))
        year = 1997 - int(abs(g.gauss(0, 12)))
        movies.append([i + 1, f"Film {i + 1} ({year})", year,
                       " ".join(genres)])
        taste.append([sum(genre_taste[x][d] for x in genres) / len(genres)
                      + g.gauss(0, .6) for d in range(dims)])
        bias.append(g.gauss(0, .45))
        weight.append(math.exp(1.4 * bias[i]) / (1 + g.random() * 40))
    ratings, users = [], []
    shares = [math.exp(g.gauss(0, 1)) for _ in range(USERS)]
    scale = RATINGS / sum(shares)
    for u in range(USERS):
        mine = [g.gauss(0, 1) for _ in range(dims)]
        offset = g.gauss(3.5, .4)
        likes = [sum(a * b for a, b in zip(mine, t)) / math.sqrt(dims)
                 for t in taste]
        # without replacement, by weight: the greatest log(uniform) / weight
        order = sorted(range(FILMS), key=lambda i: math.log(g.random())
                       / (weight[i] * math.exp(1.2 * likes[i])), reverse=True)
        for i in order[:max(20, round(shares[u] * scale))]:
            r = round(offset + bias[i] + .7 * likes[i] + g.gauss(0, .8))
            ratings.append([u + 1, i + 1, min(5, max(1, r)),
                            880000000 + g.randrange(14000000)])
        users.append([u + 1, 18 + g.randrange(50), g.choice("MF"),
                      g.choice(["student", "engineer", "writer", "other"]),
                      f"{g.randrange(100000):05d}"])
    return ratings, movies, users


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    try:
        data, source = fetch(folder), "MovieLens-100K"
    except Exception as e:  # no network, no pip, another package
        data, source = generate(), "generated ratings"
        print(f"MovieLens-100K cannot be had here ({type(e).__name__}): "
              "ratings with latent structure are generated instead. "
              "Figures and titles differ.")
    for name, rows in zip(("ratings", "movies", "users"), data):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with open(f"{folder}/{name}.csv", "w", encoding="utf8") as f:
            f.write(text.getvalue())
    print(f"{source}: {len(data[0])} ratings, {len(data[2])} users, "
          f"{len(data[1])} films")


if __name__ == "__main__":
    main()
