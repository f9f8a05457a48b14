//! What every driver must do, as tests that run on any of them.
