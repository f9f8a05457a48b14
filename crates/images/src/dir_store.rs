//! Being built.
/// A content store in a directory.
pub struct DirStore;
