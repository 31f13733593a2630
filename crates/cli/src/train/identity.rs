//! What a run's record says about program and machine.

use crate::settings::Settings;
use adamant::train::record::Machine;
use adamant::train::run::Identity;
use engine::cpu::CpuEngine;

/// Program and machine, for `run.json`.
pub fn identity(
    recipe: &str,
    settings: &Settings,
    engine: &CpuEngine,
    world_size: usize,
) -> Identity {
    Identity {
        recipe: recipe.to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        revision: env!("ADAMANT_REVISION").to_string(),
        dirty: env!("ADAMANT_DIRTY") == "true",
        machine: Machine {
            system: std::env::consts::OS.to_string(),
            architecture: std::env::consts::ARCH.to_string(),
            processor: processor(),
            kernel: format!("{:?}", engine.settings().isa).to_lowercase(),
            threads: settings.thread_count(),
        },
        world_size,
    }
}

/// The processor's model, where the system tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim());
    model.unwrap_or("unknown").to_string()
}
