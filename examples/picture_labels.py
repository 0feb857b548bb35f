"""What is in a picture: python examples/picture_labels.py MODEL.puni PICTURE

MODEL: a classifier converted with --preprocess image:... and --labels."""

import sys

import pocketuni


def main(model: str, picture: str) -> None:
    with pocketuni.Model(model) as opened:
        for label in opened.see(picture)[:3]:
            print(f"{label.probability:6.1%}  {label.name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
