"""A bit-exact, cycle-level simulator of bit-serial accelerators, and co-design with it."""
