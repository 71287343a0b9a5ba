//! What goes first when room is needed: the eviction plan, pure and showable before it is executed.
