//! Runs `tests/loom`: the registry's table under a model checker, in a crate of its own, since `--cfg loom` would have the
//! whole product compiled once more.

use std::path::Path;
use std::process::Command;

#[test]
fn no_interleaving_breaks_the_registry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--manifest-path"])
        .arg(root.join("tests/loom/Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("loom"))
        .env("RUSTFLAGS", "--cfg loom")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test result: ok. 4 passed"), "{said}");
}
