//! QEMU's control protocol (QMP).
