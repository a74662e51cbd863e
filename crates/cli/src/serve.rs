//! `shoal serve` and `shoal config …`: the node's settings from file, environment and flags.
//!
//! Holds: the flags are made from the server's table of settings; a setting added there is a
//! flag here, with the same name, range and words.
//! Does not know: what a setting means; the server resolves them all at once.

use crate::client::without_connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::table::Table;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde_json::{Value, json};
use shoal_server::config::{self, FIELDS, Field, Origin, Raw, Resolved, Words};
use std::path::PathBuf;

/// What the user said about the node's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    flags: Raw,
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("SHOAL_CONFIG")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read settings from this TOML file; flags and SHOAL_* variables win over it");
        FIELDS
            .iter()
            .fold(without_connection(command).arg(file), |command, field| command.arg(flag(field)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self { file: None, flags: Raw::default() };
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(file) = matches.get_one::<PathBuf>("config") {
            self.file = Some(file.clone());
        }
        for field in FIELDS {
            if let Some(words) = matches.get_many::<String>(field.name) {
                self.flags.set(field.name, Words(words.cloned().collect()));
            }
        }
        Ok(())
    }
}

/// A setting's flag.
fn flag(field: &'static Field) -> Arg {
    let default = field.default.describe();
    let help = format!("{} Range: {}. [default: {default}]", field.doc, field.range);
    let long = field.flag.trim_start_matches("--");
    let arg = Arg::new(field.name).long(long).value_name(field.unit).help(help);
    match field.unit {
        // A switch, which a variable or file may have set and a flag takes back: --memory=false.
        "BOOL" => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ if field.is_list() => arg.action(ArgAction::Append),
        _ => arg,
    }
}

impl Settings {
    /// What the settings mean together.
    fn resolve(&self, json: bool) -> Result<Resolved, Failure> {
        let mut flags = self.flags.clone();
        if json && flags.get("log_format").is_none() {
            flags.set("log_format", "json".into());
        }
        config::load(self.file.as_deref(), flags).map_err(|problems| {
            let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::new("config", sentences.join("\n       "))
        })
    }
}

/// `shoal serve`.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    /// Runs a node until it is told to stop.
    pub(crate) fn run(&self, out: &Output) -> Result<Outcome, Failure> {
        let resolved = self.settings.resolve(out.json)?;
        shoal_server::run(resolved, out.json)
            .map(|()| Outcome::Done)
            .map_err(|error| Failure::new("serve", error.to_string()))
    }
}

/// `shoal config`.
#[derive(Subcommand, Debug)]
pub(crate) enum Config {
    /// Say whether the settings are sound
    Check(Check),
    /// Print every setting with its value and where it comes from
    Show(Show),
}

/// `shoal config check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// `shoal config show`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    settings: Settings,
}

impl Config {
    /// Runs the subcommand.
    pub(crate) fn run(&self, out: &Output) -> Result<Outcome, Failure> {
        match self {
            Self::Check(args) => {
                args.settings.resolve(false)?;
                out.either(&json!({ "sound": true }), "The settings are sound.")?;
            }
            Self::Show(args) => {
                let resolved = args.settings.resolve(false)?;
                if out.json {
                    out.document(&document(&resolved))
                } else {
                    out.line(show(&resolved))
                }?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn document(resolved: &Resolved) -> Value {
    let setting = |shown: config::ShownSetting| {
        let mut origin = json!({ "kind": origin_kind(&shown.origin) });
        if let Origin::File(path) = &shown.origin {
            origin["path"] = json!(path.to_string_lossy());
        }
        (shown.field.name.to_owned(), json!({ "value": shown.value, "origin": origin }))
    };
    Value::Object(resolved.show().into_iter().map(setting).collect())
}

const fn origin_kind(origin: &Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::File(_) => "file",
        Origin::Environment => "environment",
        Origin::Flag => "flag",
    }
}

fn show(resolved: &Resolved) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for shown in resolved.show() {
        table.row([shown.field.name.to_owned(), shown.value, shown.origin.to_string()]);
    }
    table.show()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn flags(line: &str) -> Result<Raw, String> {
        let words = std::iter::once("serve").chain(line.split_whitespace());
        match Line::try_parse_from(words) {
            Ok(line) => Ok(line.settings.flags),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_setting_has_a_flag() {
        for field in FIELDS {
            let line = format!("{}=false", field.flag);
            let raw = flags(&line).unwrap();
            assert_eq!(raw.get(field.name), Some(&Words::from("false")), "{line}");
        }
        assert_eq!(flags("").unwrap(), Raw::default());
    }

    #[test]
    fn switches_and_lists() {
        let raw = flags("--memory --listen 127.0.0.1:1 --listen unix:/s").unwrap();
        assert_eq!(raw.get("memory"), Some(&Words::from("true")));
        let both = vec!["127.0.0.1:1".to_owned(), "unix:/s".to_owned()];
        assert_eq!(raw.get("listen"), Some(&Words(both)));
        assert!(flags("--nonsense 1").is_err());
    }
}
