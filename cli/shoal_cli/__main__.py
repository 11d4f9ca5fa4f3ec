"""Entry point of `shoal` and `python -m shoal_cli`."""

from __future__ import annotations

from shoal_cli.app import build_app


def main() -> None:
    build_app()(prog_name="shoal")


if __name__ == "__main__":
    main()
