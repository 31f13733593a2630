//! Ranks that agree: all-reduce, broadcast, barrier. Knows no tensors.

#![forbid(unsafe_code)]
