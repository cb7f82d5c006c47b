//! Settings out of TOML, JSON and YAML, and reports into JSON.

#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

use std::net::SocketAddr;

use bindaddr::interfaces::Interface;
use bindaddr::{BindOptions, BindTarget, Interfaces, ListenAddr, ListenAddrs};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json, to_value};

#[derive(Debug, Deserialize)]
struct Config<T> {
    listen: T,
}

/// Returns one value as three formats deserialize it, as text.
fn read<T: DeserializeOwned + ToString>(value: &str) -> [Result<String, String>; 3] {
    let toml = toml::from_str::<Config<T>>(&format!("listen = {value}\n"));
    let json = serde_json::from_str::<Config<T>>(&format!("{{\"listen\": {value}}}"));
    let yaml = serde_yaml_ng::from_str::<Config<T>>(&format!("listen: {value}\n"));
    [
        toml.map_err(|err| err.to_string()),
        json.map_err(|err| err.to_string()),
        yaml.map_err(|err| err.to_string()),
    ]
    .map(|config| config.map(|config| config.listen.to_string()))
}

#[test]
fn listen_addr_deserializes_from_text_or_port() {
    for (value, addr) in [
        ("\"127.0.0.1:8080\"", "127.0.0.1:8080"),
        ("\"[fe80::1%eth0]:80\"", "[fe80::1%eth0]:80"),
        ("\"-[::1]:80\"", "-[::1]:80"),
        ("8080", "*:8080"),
        ("0", "*:0"),
    ] {
        for read in read::<ListenAddr>(value) {
            assert_eq!(read.as_deref(), Ok(addr), "{value}");
        }
    }
}

#[test]
fn listen_addrs_deserialize_from_value_or_sequence() {
    for (value, addrs) in [
        ("\"127.0.0.1:80, [::1]:80\"", "127.0.0.1:80, [::1]:80"),
        (
            "[\"127.0.0.1:80\", \"[::1]:80 eth0:443\"]",
            "127.0.0.1:80, [::1]:80, eth0:443",
        ),
        ("[8080, \"localhost:80\"]", "*:8080, localhost:80"),
        ("8080", "*:8080"),
    ] {
        for read in read::<ListenAddrs>(value) {
            assert_eq!(read.as_deref(), Ok(addrs), "{value}");
        }
    }
}

#[test]
fn deserialize_error_has_sentence_and_position() {
    // The parser's own message.
    let of = |text: &str| text.parse::<ListenAddr>().unwrap_err().to_string();
    for (value, sentence) in [
        ("\"127.0.0.1\"", of("127.0.0.1")),
        ("\"::1:80\"", of("::1:80")),
        ("\"eth0:80a\"", of("eth0:80a")),
        ("\"\"", of("")),
        ("70000", of("70000")),
    ] {
        let [toml, json, yaml] = read::<ListenAddr>(value).map(Result::unwrap_err);
        for message in [&toml, &json, &yaml] {
            assert!(message.contains(&sentence), "{sentence}: {message}");
        }
        // And by the format where it stands.
        assert!(
            toml.starts_with("TOML parse error at line 1, column 10"),
            "{toml}"
        );
        assert!(json.contains(" at line 1 column "), "{json}");
    }
    let of = |texts: &[&str]| ListenAddrs::parse_each(texts).unwrap_err().to_string();
    for (value, sentence) in [
        (
            "[\"127.0.0.1:80\", \"::1:80\"]",
            of(&["127.0.0.1:80", "::1:80"]),
        ),
        ("[]", of(&[])),
    ] {
        for message in read::<ListenAddrs>(value).map(Result::unwrap_err) {
            assert!(message.contains(&sentence), "{sentence}: {message}");
        }
    }
}

#[test]
fn deserialize_rejects_other_types() {
    for (value, found) in [
        ("-1", "invalid value: a negative number"),
        ("true", "invalid type: boolean `true`"),
        ("1.5", "invalid type: floating point `1.5`"),
    ] {
        for message in read::<ListenAddr>(value).map(Result::unwrap_err) {
            let expected =
                format!("{found}, expected a listen address such as \"127.0.0.1:8080\", or a port");
            assert!(message.contains(&expected), "{message}");
        }
        for message in read::<ListenAddrs>(value).map(Result::unwrap_err) {
            let expected = format!("{found}, expected ");
            assert!(message.contains(&expected), "{message}");
        }
    }
}

/// In YAML what begins with `*` or `[` is something else unless it is quoted, and an error.
#[test]
fn deserialize_rejects_sexagesimal_yaml() {
    for value in ["*:80", "[::]:80"] {
        assert!(
            serde_yaml_ng::from_str::<Config<ListenAddr>>(&format!("listen: {value}\n")).is_err()
        );
    }
}

#[test]
fn settings_serialize_as_written() {
    for text in [
        "127.0.0.1:80",
        "*:8080",
        "-ipv4@eth0:80",
        "_private_:8000-8010",
    ] {
        let addr: ListenAddr = text.parse().unwrap();
        assert_eq!(to_value(&addr).unwrap(), json!(text));
        let addrs = ListenAddrs::from(addr);
        let written = to_value(&addrs).unwrap();
        assert_eq!(written, json!([text]));
        assert_eq!(
            serde_json::from_value::<ListenAddrs>(written).unwrap(),
            addrs
        );
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Ports {
    #[serde(deserialize_with = "bindaddr::addr::de::with_default_port::<8080, _, _>")]
    listen: ListenAddr,
    #[serde(deserialize_with = "bindaddr::addr::de::with_default_port::<8443, _, _>")]
    tls: ListenAddrs,
    #[serde(deserialize_with = "bindaddr::addr::de::host_with_port::<9100, _, _>")]
    metrics: ListenAddrs,
    #[serde(
        default,
        deserialize_with = "bindaddr::addr::de::host_with_port::<9101, _, _>"
    )]
    admin: Option<ListenAddr>,
}

#[test]
fn field_takes_default_port_from_program() {
    let texts = |ports: Ports| {
        let admin = ports.admin.map(|addr| addr.to_string());
        let [tls, metrics] = [ports.tls, ports.metrics].map(|addrs| addrs.to_string());
        (ports.listen.to_string(), tls, metrics, admin)
    };
    let toml =
        "listen = '::1'\ntls = ['127.0.0.1', 'eth0:443', 444]\nmetrics = 'fd00::1:2, -::1'\n";
    let expected = (
        "[::1]:8080".to_owned(),
        "127.0.0.1:8443, eth0:443, *:444".to_owned(),
        "[fd00::1:2]:9100, -[::1]:9100".to_owned(),
        None,
    );
    assert_eq!(texts(toml::from_str(toml).unwrap()), expected);
    let json = json!({
        "listen": "::1",
        "tls": ["127.0.0.1", "eth0:443", 444],
        "metrics": ["fd00::1:2", "-::1"],
        "admin": null,
    });
    let text = json.to_string();
    let ports: Ports = serde_json::from_value(json).unwrap();
    assert_eq!(serde_json::from_str::<Ports>(&text).unwrap(), ports);
    assert_eq!(texts(ports), expected);
    let toml = format!("{toml}admin = 'localhost'\n");
    let admin = toml::from_str::<Ports>(&toml).unwrap().admin;
    assert_eq!(admin, Some("localhost:9101".parse().unwrap()));
    let json = text.replace("null", "\"localhost\"");
    assert_eq!(serde_json::from_str::<Ports>(&json).unwrap().admin, admin);
}

#[test]
fn host_field_rejects_port() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // read for its errors
    struct Host {
        #[serde(deserialize_with = "bindaddr::addr::de::host_with_port::<80, _, _>")]
        listen: ListenAddr,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // read for its errors
    struct Hosts {
        #[serde(deserialize_with = "bindaddr::addr::de::host_with_port::<80, _, _>")]
        listen: ListenAddrs,
    }
    fn errors<T: DeserializeOwned + std::fmt::Debug>(value: &str) -> [String; 2] {
        let toml = toml::from_str::<T>(&format!("listen = {value}\n")).unwrap_err();
        let json = serde_json::from_str::<T>(&format!("{{\"listen\": {value}}}")).unwrap_err();
        [toml.to_string(), json.to_string()]
    }
    let of_host = |text: &str| ListenAddr::from_host(text, 80).unwrap_err().to_string();
    let of_list = ListenAddrs::from_each_host(["::1", "8080"], 80).unwrap_err();
    for (errors, sentence) in [
        (
            errors::<Host>("\"127.0.0.1:8080\""),
            of_host("127.0.0.1:8080"),
        ),
        (errors::<Host>("8080"), of_host("8080")),
        (errors::<Hosts>("8080"), of_host("8080")),
        (errors::<Hosts>("[\"::1\", 8080]"), of_list.to_string()),
        (
            errors::<Host>("true"),
            "boolean `true`, expected a host such as".to_owned(),
        ),
        (
            errors::<Hosts>("-1"),
            "a negative number, expected a host such as".to_owned(),
        ),
    ] {
        for error in errors {
            assert!(error.contains(&sentence), "{sentence}: {error}");
        }
    }
}

fn host() -> Interfaces {
    let addr = |text: &str| text.parse().unwrap();
    [
        Interface::new("lo", 1).with_addr(addr("127.0.0.1"), 8),
        Interface::new("eth0", 2)
            .with_addr(addr("192.168.71.67"), 16)
            .with_addr(addr("fe80::77"), 64),
    ]
    .into_iter()
    .collect()
}

#[test]
fn bind_targets_serialize() {
    let value = |text: &str| to_value(BindTarget::parse_with(text, &host()).unwrap()).unwrap();
    assert_eq!(
        value("0.0.0.0"),
        json!({"class": "any", "families": ["ipv4"], "meaning": "every IPv4 address of this host"}),
    );
    assert_eq!(
        value("localhost"),
        json!({
            "class": "loopback",
            "ips": ["127.0.0.1", "::1"],
            "meaning": "this host only (127.0.0.1 and ::1)",
        }),
    );
    assert_eq!(
        value("fe80::77%eth0"),
        json!({
            "class": "local",
            "ip": "fe80::77",
            "scope_id": 2,
            "interfaces": ["eth0"],
            "meaning": "fe80::77%eth0, an address of eth0",
        }),
    );
    assert_eq!(
        value("192.168.158.94"),
        json!({
            "class": "foreign",
            "ip": "192.168.158.94",
            "scope_id": null,
            "reason": "same-subnet",
            "nearest": ["192.168.71.67"],
            "meaning": "192.168.158.94, which no interface of this host has; it is in \
                        eth0's subnet (192.168.71.67/16) but not assigned to this host",
        }),
    );
}

#[test]
fn exposure_reports_serialize() {
    let reach = BindTarget::parse_with("*", &host())
        .unwrap()
        .reach(80, &host());
    let reach = to_value(reach).unwrap();
    assert_eq!(reach["exposure"], "private");
    let reachable = reach["addrs"].as_array().unwrap();
    let addrs: Vec<&Value> = reachable.iter().map(|addr| &addr["addr"]).collect();
    assert_eq!(
        addrs,
        ["127.0.0.1:80", "192.168.71.67:80", "[fe80::77%2]:80"]
    );
    assert_eq!(
        reachable[1],
        json!({
            "addr": "192.168.71.67:80",
            "origin": "network",
            "exposure": "private",
            "interface": "eth0",
            "running": true,
            "browsers": true,
        }),
    );
    assert_eq!(
        to_value(host()).unwrap()[0],
        json!({
            "name": "lo",
            "index": 1,
            "running": true,
            "loopback": true,
            "addrs": [{
                "ip": "127.0.0.1",
                "prefix_len": 8,
                "peer": null,
                "state": "preferred",
                "temporary": false,
            }],
        }),
    );
}

#[test]
fn errors_and_checks_serialize() {
    let held = bindaddr::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = held.as_slice()[0].local_addr();
    let err = bindaddr::bind(addr).unwrap_err();
    let value = to_value(&err).unwrap();
    assert_eq!(value["message"], err.to_string());
    assert_eq!(value["transient"], false);
    let failure = &value["errors"][0];
    assert_eq!(failure["addr"], addr.to_string());
    assert_eq!(failure["step"], "bind(2)");
    assert_eq!(failure["causes"][0]["name"], "in-use");
    if cfg!(target_os = "linux") {
        assert_eq!(failure["os_error"], 98);
        let holder = &failure["causes"][0]["holders"][0];
        assert_eq!(holder["pid"], std::process::id());
        assert_eq!(holder["state"], "listening");
    }

    let check = to_value(bindaddr::check([addr.to_string(), "127.0.0.1".to_owned()])).unwrap();
    assert_eq!(check["ok"], false);
    assert_eq!(
        check["settings"][0]["sockets"][0]["target"]["class"],
        "loopback"
    );
    assert_eq!(check["settings"][1]["errors"][0]["name"], "invalid-text");
    assert_eq!(check["settings"][1]["sockets"], json!([]));
}

#[test]
fn warnings_and_diffs_serialize() {
    let listeners = bindaddr::bind(["127.0.0.1:0", "-198.51.100.1:0"]).unwrap();
    let addr = listeners.as_slice()[0].local_addr().to_string();
    let skipped = to_value(listeners.skipped()).unwrap();
    assert_eq!(skipped[0]["index"], 1);
    assert_eq!(skipped[0]["text"], "-198.51.100.1:0");
    assert_eq!(skipped[0]["addr"], "198.51.100.1:0");
    assert_eq!(skipped[0]["causes"][0]["name"], "not-on-this-host");

    let lo = Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
    let host: Interfaces = [lo].into_iter().collect();
    let plan = BindOptions::new().plan_on("127.0.0.1:0", &host).unwrap();
    let gone = plan
        .replan(&Interfaces::default())
        .unwrap()
        .diff(&listeners);
    let gone = &to_value(&gone).unwrap()[0];
    assert_eq!(
        gone,
        &json!({
            "kind": "unreachable",
            "index": 0,
            "entry": 0,
            "addr": addr,
            "interface": null,
            "message": gone["message"],
        })
    );
    let message = gone["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("no client can connect to {addr}")));
    let back = plan.replan(&host).unwrap().diff(&listeners);
    assert_eq!(to_value(&back).unwrap()[0]["kind"], "kept");

    if cfg!(target_os = "linux") {
        let options = BindOptions::new().freebind(true);
        let listeners = options.bind("8.8.4.4:0").unwrap();
        let listener = &listeners.as_slice()[0];
        let warnings = listener.warnings(&Interfaces::system().unwrap());
        assert_eq!(to_value(&warnings).unwrap()[0]["name"], "not-listed");
        let eth0 = Interface::new("eth0", 2).with_addr([8, 8, 4, 4].into(), 24);
        let host: Interfaces = [eth0].into_iter().collect();
        let warnings = listeners.warnings(&host);
        assert_eq!(
            to_value(&warnings[0]).unwrap(),
            json!({
                "name": "global-address",
                "addr": listener.local_addr(),
                "message": warnings[0].kind().to_string(),
            })
        );
    }
}

/// A format in which nothing says what it is (postcard), as between the processes of one server.
#[test]
fn programs_forward_addresses() {
    let addr: ListenAddr = "-ipv6@eth0:80".parse().unwrap();
    let bytes = postcard::to_allocvec(&addr).unwrap();
    assert_eq!(postcard::from_bytes::<ListenAddr>(&bytes), Ok(addr));
    let addrs: ListenAddrs = "127.0.0.1:80, [::1]:80".parse().unwrap();
    let bytes = postcard::to_allocvec(&addrs).unwrap();
    assert_eq!(postcard::from_bytes::<ListenAddrs>(&bytes), Ok(addrs));
}
