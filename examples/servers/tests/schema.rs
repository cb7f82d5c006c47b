//! Compares the output of the command with `--json` against the schema in the docs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use boon::{Compiler, Schemas};
use serde_json::Value;

/// The command that is named in the environment, or that cargo builds.
fn bindaddr() -> Command {
    if let Some(built) = std::env::var_os("BINDADDR_COMMAND") {
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
    }
}

/// Returns the first lines of what never ends.
fn first_lines(count: usize, args: &[&str]) -> Vec<Value> {
    let mut process = bindaddr()
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let lines = lines.take(count).map(|line| {
        let line = line.expect("it is text");
        serde_json::from_str(&line).unwrap_or_else(|err| panic!("{line}: {err}"))
    });
    let lines = lines.collect();
    let _ = process.kill();
    let _ = process.wait();
    lines
}

fn json(args: &[&str]) -> Value {
    let output = bindaddr()
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
fn json_output_matches_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.schema.json");
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    // A field that the schema lacks fails the test.
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
    let directory = std::env::temp_dir().join(format!("bindaddr-schema-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("it is made");
    let file = |name: &str, content: &str| {
        let path = directory.join(name);
        fs::write(&path, content).expect("it is written");
        path.to_str().expect("it is text").to_owned()
    };
    let files = [
        file("a.toml", "listen = ['127.0.0.1:0', true]\n"),
        file("a.json", "{\"listen\": [1,]}"),
        file(
            "nginx.conf",
            "include a.conf;\nserver { listen unix:/x; }\n",
        ),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    runs.push(("check", [&["check"], &files[..]].concat()));
    runs.push((
        "failure",
        vec!["check", "--running", "no-such-process", "127.0.0.1:0"],
    ));
    runs.push(("failure", vec!["explain", "--no-such"]));
    if cfg!(target_os = "linux") {
        runs.push(("listeners", vec!["listeners"]));
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
    fs::remove_dir_all(directory).expect("it is there");
    let location = format!("{path}#/$defs/watch");
    let schema = compiler
        .compile(&location, &mut schemas)
        .expect("it is a schema");
    let lines = first_lines(3, &["watch", "--json", "127.0.0.1:80", "no-such0:80"]);
    assert_eq!(lines.len(), 3);
    for value in lines {
        assert!(schemas.validate(&value, schema).is_ok(), "{value}");
    }
    // It is strict enough to notice.
    let location = format!("{path}#/$defs/interfaces");
    let schema = compiler
        .compile(&location, &mut schemas)
        .expect("it is a schema");
    assert!(schemas.validate(&json(&["reach", "*:0"]), schema).is_err());
}
