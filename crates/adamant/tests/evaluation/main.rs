//! The evaluator on small real networks: ways of a search, ledgers, curves, the audit and the files others read.

mod g11_along;
mod g12_audit;
mod g19_report;
mod g20_again;
mod g30_together;
mod masked;
mod overfitted;
mod support;
mod trained;
