//! Containers on a real node, through the command line.
//!
//! One node serves all tests but those that kill it. Without root, containerd or the starter images'
//! registry the tests say why they do nothing; with `HULL_E2E` set that is a failure.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

mod e2e {
    pub mod process;

    mod api;
    mod app_builds;
    mod apps;
    mod audit;
    mod backup;
    mod catalog_apps;
    mod catalog_sources;
    mod catalogs;
    mod changes;
    mod clean_node;
    mod clones;
    mod completion;
    mod console;
    mod copies;
    mod crash;
    mod docker;
    mod docker_build;
    mod docker_images;
    mod docker_kit;
    mod docker_limits;
    mod docker_starts;
    mod dying;
    mod engines;
    mod faults;
    mod groups;
    mod guests;
    mod hostile;
    mod images;
    mod life;
    mod logs;
    mod machine_devices;
    mod machine_images;
    mod machines;
    mod metadata;
    mod names;
    mod network;
    mod outside;
    mod plugins;
    mod rancher;
    mod reads;
    mod reboot;
    mod refusals;
    mod sandbox;
    mod secrets;
    mod service_access;
    mod service_modes;
    mod services;
    mod shares;
    mod start;
    mod storage;
    mod terminal;
    mod volumes;
}
