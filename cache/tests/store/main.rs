//! The store through its front door, on a real file system.

mod basics;
mod behind;
mod crash;
mod damage;
mod extents;
mod footprint;
mod full_disk;
mod mirror;
mod model;
mod reader;
mod room;
mod small;
mod support;
mod upgrade;
