//! State of one backend on another: all ordered pairs.
