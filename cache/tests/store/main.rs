//! The store through its front door, on a real file system.

mod basics;
mod support;
