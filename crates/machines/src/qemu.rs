//! QEMU's arguments.
