"""What the engine needs of the outside, made real. Each module fulfils a contract of `ports`."""
