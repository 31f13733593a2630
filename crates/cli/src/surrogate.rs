//! A second model, on which images are crafted that are tried on the first.

use crate::failure::OrWrongUsage;
use adamant::attack::{Attack, Surrogate, Transfer};
use adamant::evaluate::Fingerprint;
use adamant::victim::FrozenSurrogate;
use anyhow::anyhow;
use engine::cpu::CpuEngine;
use engine::{Engine, Precision};
use network::Domain;
use std::path::Path;
use std::sync::Arc;

/// How names of attacks begin that are made on the surrogate.
pub const PREFIX: &str = "transfer-";

/// The second model.
pub struct SecondModel {
    frozen: Arc<dyn Surrogate>,
    identity: String,
}

impl SecondModel {
    /// Opens what the user named, and takes the branch that attacks see.
    pub fn open(named: &Path, branch: Domain, engine: &CpuEngine) -> anyhow::Result<Self> {
        let network = crate::model::open(named)?.network;
        let frozen = engine.freeze(&network, branch, Precision::F32)?;
        let identity = Fingerprint::of_network(&network);
        Ok(Self { frozen: Arc::new(FrozenSurrogate(frozen)), identity })
    }

    /// `attack`, made on this model.
    pub fn craft(&self, attack: Box<dyn Attack>) -> Box<dyn Attack> {
        let transfer = Transfer::new(attack, Arc::clone(&self.frozen));
        Box::new(transfer.identified(self.identity.clone()))
    }
}

/// Whether names and model belong together: `transfer-` needs a second model, and a second model `transfer-`.
pub fn check(names: &[String], named: Option<&Path>) -> anyhow::Result<()> {
    let transfer = names.iter().find(|name| name.starts_with(PREFIX));
    let error = match (transfer, named) {
        (Some(name), None) => {
            anyhow!("{name} needs a second model\n  hint: name it with --surrogate")
        }
        (None, Some(named)) => anyhow!(
            "no attack is made on the surrogate {}\n  hint: write {PREFIX}pgd-20 among --attacks",
            named.display()
        ),
        _ => return Ok(()),
    };
    Err(error).or_wrong_usage()
}
