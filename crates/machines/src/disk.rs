//! Disk images: looked at, made, converted.
