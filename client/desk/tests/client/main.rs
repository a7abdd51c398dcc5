//! The shipped binary against a small peer with tight limits: order, exit codes, paging, and what a batch asks again.
//!
//! The peer answers by what a name says: `N 7` has seven rows. The real server has its own end-to-end tests.

mod ask;
mod batch;
mod ends;
mod peer;
mod sheets;
