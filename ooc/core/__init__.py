"""What every floor stands on: errors, the compiler, random keys, sizes, the process."""
