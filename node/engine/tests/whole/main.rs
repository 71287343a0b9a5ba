//! The engine as a whole, with a rig in the place of the node around it: virtual time, scripted origins and neighbours.

mod amendments;
mod fairness;
mod faults;
mod model;
mod rig;
mod scenarios;
mod sessions;
mod trust;
