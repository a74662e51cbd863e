//! Settings from every origin, and every problem reported at once.

use super::*;
use std::path::PathBuf;

fn raw(text: &str) -> Raw {
    Raw::from_toml(text).expect(text)
}

fn problems(layers: &[(Origin, Raw)]) -> Vec<String> {
    let problems = resolve(layers).expect_err("there is a problem");
    problems.into_iter().map(|problem| problem.to_string()).collect()
}

#[test]
fn nothing_written_gives_the_table_s_defaults() {
    let resolved = resolve(&[]).expect("the defaults are sound");
    assert!(resolved.memory_limit >= 64 << 20);
    for shown in resolved.show() {
        assert_eq!(shown.origin, Origin::Default, "{}", shown.field.name);
        assert!(!shown.value.is_empty(), "{} is shown", shown.field.name);
        if let DefaultValue::Text(text) = shown.field.default {
            let mut again = Raw::default();
            again.set(shown.field.name, Words::from(text));
            let again = resolve(&[(Origin::Flag, again)]).expect("a default can be written");
            let value = again.show().into_iter().find(|other| other.field == shown.field);
            assert_eq!(value.map(|other| other.value), Some(shown.value), "{}", shown.field.name);
        }
    }
}

#[test]
fn what_is_shown_can_be_written() {
    let resolved = resolve(&[]).expect("the defaults are sound");
    for shown in resolved.show() {
        let mut raw = Raw::default();
        raw.set(shown.field.name, Words::from(shown.value.as_str()));
        let again = resolve(&[(Origin::Flag, raw)]).expect(shown.field.name);
        let found = again.show().into_iter().find(|other| other.field == shown.field);
        assert_eq!(found.map(|other| other.value), Some(shown.value));
    }
}

#[test]
fn later_places_win_and_are_named() {
    let file = Origin::File(PathBuf::from("shoal.toml"));
    let environment = Raw::from_environment([
        ("SHOAL_MAX_CLIENTS".to_owned(), "20".to_owned()),
        ("SHOAL_MAX_VALUE".to_owned(), "2MiB".to_owned()),
        ("SHOAL_PORT".to_owned(), "tcp://10.0.0.1:7400".to_owned()),
    ]);
    let flags = Raw { max_value: Some("3MiB".into()), ..Raw::default() };
    let layers = [
        (file.clone(), raw("max_clients = 10\nmax_value = 1_048_576\nmemory = true\n")),
        (Origin::Environment, environment),
        (Origin::Flag, flags),
    ];
    let resolved = resolve(&layers).expect("all is well");
    assert!(resolved.memory);
    assert_eq!((resolved.max_clients, resolved.max_value), (20, 3 << 20));
    assert_eq!(resolved.origin("memory"), file);
    assert_eq!(resolved.origin("max_clients"), Origin::Environment);
    assert_eq!(resolved.origin("max_value"), Origin::Flag);
    assert_eq!(resolved.origin("data"), Origin::Default);
}

#[test]
fn every_problem_is_told_with_place_and_remedy() {
    let layers = [
        (Origin::Environment, raw("max_clients = 0\nmemory_limit = \"12 potatoes\"\n")),
        (Origin::Flag, raw("log_level = \"loud\"\nlisten = [\"nowhere\", \"unix:\"]\n")),
    ];
    let problems = problems(&layers);
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for (problem, words) in problems.iter().zip([
        ["listen (flag)", "`nowhere`", "give one or several"],
        ["listen (flag)", "`unix:`", "give one or several"],
        ["memory_limit (environment)", "`potatoes` is not a unit", "give 64MiB or more"],
        ["max_clients (environment)", "too little", "give 1 to 1,000,000"],
        ["log_level (flag)", "`loud`", "give error, warn"],
    ]) {
        for word in words {
            assert!(problem.contains(word), "{problem} / {word}");
        }
        assert!(problem.ends_with('.'), "{problem}");
    }
}

#[test]
fn an_open_address_needs_the_flag_that_says_so() {
    for address in ["0.0.0.0:7400", "[::]:7400", "192.168.1.1:7400"] {
        let listen = Raw { listen: Some(address.into()), ..Raw::default() };
        let told = problems(&[(Origin::Flag, listen.clone())]);
        assert!(told[0].contains("--insecure-open") && told[0].contains(address), "{told:?}");
        let open = Raw { insecure_open: Some(true.into()), ..listen };
        assert!(resolve(&[(Origin::Flag, open)]).is_ok());
    }
}

#[test]
fn a_file_with_an_unknown_setting_is_refused_by_line() {
    let error = Raw::from_toml("memory = true\nmemroy_limit = 5\n").expect_err("misspelt");
    assert!(error.contains("line 2") && error.contains("memroy_limit"), "{error}");
    let error = Raw::from_toml("memory = {}\n").expect_err("a table");
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn settings_that_contradict_are_refused() {
    let told = problems(&[(Origin::Flag, raw("max_value = \"100MiB\""))]);
    assert!(told[0].contains("max_command (64MiB)"), "{told:?}");
    let twice = raw("listen = [\"127.0.0.1:7400\", \"localhost:7400\"]");
    assert!(problems(&[(Origin::Flag, twice)])[0].contains("twice"));
    assert!(resolve(&[(Origin::Flag, raw("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]"))]).is_ok());
}

#[test]
fn a_list_comes_from_the_environment_with_commas() {
    let raw = Raw::from_environment([(
        "SHOAL_LISTEN".to_owned(),
        "127.0.0.1:7400, unix:/tmp/s.sock".to_owned(),
    )]);
    let resolved = resolve(&[(Origin::Environment, raw)]).expect("both are addresses");
    assert_eq!(resolved.listen.len(), 2);
}

#[test]
fn raw_settings_survive_being_written_to_a_file() {
    let before = raw("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nmemory = true\n");
    let text = toml::to_string(&before).expect("words can be written");
    assert_eq!(raw(&text), before);
}
