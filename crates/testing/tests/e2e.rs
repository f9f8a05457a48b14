//! Containers on a real node, through the command line.
//!
//! One node serves all tests but those that kill it. Without root, containerd or the starter images'
//! registry the tests say why they do nothing; with `HULL_E2E` set that is a failure.

mod e2e {
    pub mod process;

    mod crash;
    mod groups;
    mod life;
    mod logs;
    mod network;
    mod refusals;
    mod sandbox;
    mod storage;
}
