//! What the command writes with `--json`, held against the schema in the documents.

use std::fs;
use std::path::Path;
use std::process::Command;

use boon::{Compiler, Schemas};
use serde_json::Value;

/// Runs the command that is named in the environment, or that cargo builds.
fn json(args: &[&str]) -> Value {
    let mut command = if let Some(built) = std::env::var_os("BINDADDR_COMMAND") {
        Command::new(built)
    } else {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        let run = [
            "run",
            "--quiet",
            "--package",
            "bindaddr",
            "--features",
            "cli",
            "--",
        ];
        command.args(run);
        command
    };
    let output = command
        .args([args[0], "--json"])
        .args(&args[1..])
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|err| panic!("{args:?}: {err}: {stderr}"))
}

/// Lets objects have no fields but those of the schema.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type")
            {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn each_subcommand_keeps_to_its_definition() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.schema.json");
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    // What is not in it is noticed here, for it belongs in it.
    let mut schema: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is JSON");
    close(&mut schema);
    let path = "file:///cli.schema.json";
    compiler.add_resource(path, schema).expect("it is a schema");
    let held = bindaddr::bind("127.0.0.1:0").expect("loopback is there");
    let taken = held.as_slice()[0].local_addr().to_string();
    // TEST-NET-2, which no host has.
    let texts = [
        "*:0",
        "localhost:0",
        "198.51.100.1:0",
        "224.0.0.1:80",
        "::1:80",
        &taken,
        "127.0.0.1:80",
    ];
    let mut runs: Vec<(&str, Vec<&str>)> = vec![
        ("interfaces", vec!["interfaces"]),
        ("wait", vec!["wait", "localhost:0"]),
        (
            "wait",
            vec!["wait", "--timeout", "0", "198.51.100.1:0", &taken],
        ),
        (
            "check",
            vec![
                "check",
                "*:80",
                "127.0.0.1:80",
                "*:80",
                "--",
                "-198.51.100.1:0",
            ],
        ),
    ];
    for subcommand in ["explain", "check", "reach"] {
        runs.push((subcommand, [&[subcommand], &texts[..]].concat()));
    }
    for (definition, args) in runs {
        let location = format!("{path}#/$defs/{definition}");
        let schema = compiler
            .compile(&location, &mut schemas)
            .expect("it is a schema");
        let value = json(&args);
        let valid = schemas.validate(&value, schema);
        assert!(
            valid.is_ok(),
            "{args:?}: {:#}\n{value:#}",
            valid.expect_err("it is not")
        );
    }
    // It is strict enough to notice.
    let location = format!("{path}#/$defs/interfaces");
    let schema = compiler
        .compile(&location, &mut schemas)
        .expect("it is a schema");
    assert!(schemas.validate(&json(&["reach", "*:0"]), schema).is_err());
}
