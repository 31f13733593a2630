//! The environment variable that chooses the instruction set, as a program meets it.

use kernels::{Isa, IsaError};
use std::process::Command;

#[test]
fn the_environment_chooses_the_instruction_set() {
    let names = Isa::available().into_iter().map(Isa::name).chain(["sse9"]);
    for name in names {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "best_follows_the_environment"])
            .env("ADAMANT_ISA", name)
            .output()
            .expect("this test runs itself");
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && text.contains("1 passed"), "{name}: {text}");
    }
}

/// Run by itself and, with the variable set, by the test above.
#[test]
fn best_follows_the_environment() {
    let expected = match std::env::var("ADAMANT_ISA") {
        Err(_) => Ok(Isa::detected()),
        Ok(name) => Isa::available()
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or(IsaError::Unknown { found: name }),
    };
    assert_eq!(Isa::best(), expected);
}
