//! Slices in, slices out: the inner loops of the CPU engine. All `unsafe` of the project is here.
