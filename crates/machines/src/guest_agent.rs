//! The agent inside the guest (QEMU guest agent protocol).
