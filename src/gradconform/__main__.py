"""python -m gradconform."""

from gradconform.conformance.command_line.commands import main

if __name__ == "__main__":
    main(prog_name="gradconform")
