"""`python -m cli`: the command line, for whoever knows the interpreter but not where scripts are."""

from cli.main import main

__all__: list[str] = []

main()
