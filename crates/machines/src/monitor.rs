//! Process 1 of a machine's walls.
