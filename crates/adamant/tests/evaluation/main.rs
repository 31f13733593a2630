//! The evaluator on small real networks: ways of a search, ledgers, curves, the audit and the files others read.

mod g11_along;
mod support;
