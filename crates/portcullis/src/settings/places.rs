//! The places where a setting may stand, in the order in which they win.

use std::collections::BTreeMap;

use super::definition::Setting;
use super::nearest::nearest;
use super::problem::{Fault, Warning};
use super::table::{TABLE, find};
use super::{environment, file};
use crate::cli::StartFlags;

/// A value as it was written, and where.
pub struct Given {
    /// A flag, a variable, or `file:line key`.
    pub place: String,
    pub text: String,
}

/// The values of one place, by the setting's own name.
#[derive(Default)]
pub struct Place {
    values: BTreeMap<&'static str, Given>,
}

impl Place {
    /// Takes a value in, unless this place has one already, under the same or another name.
    pub fn put(&mut self, setting: &'static Setting, given: Given, faults: &mut Vec<Fault>) {
        match self.values.get(setting.name) {
            Some(first) => {
                faults.push(Fault::new(given.place, format!("{} sets {} too; keep one", first.place, setting.name)));
            }
            None => {
                self.values.insert(setting.name, given);
            }
        }
    }

    #[cfg(test)]
    pub fn get(&self, name: &str) -> Option<&Given> {
        self.values.get(name)
    }
}

/// The value of each setting that was set, from the strongest place.
#[derive(Default)]
pub struct Chosen {
    values: BTreeMap<&'static str, Given>,
}

/// Gathers all places; what cannot be a setting is reported.
pub fn choose(
    flags: &StartFlags,
    variables: Vec<(String, String)>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Warning>,
) -> Chosen {
    let from_file = file::read(flags, &variables, faults);
    let from_kong = environment::kong(&variables, faults, warnings);
    let ours = environment::portcullis(&variables, faults);
    let from_flags = flag_values(flags, faults);

    let mut chosen = Chosen::default();
    for place in [from_file, from_kong, ours, from_flags] {
        chosen.values.extend(place.values);
    }
    chosen
}

fn flag_values(flags: &StartFlags, faults: &mut Vec<Fault>) -> Place {
    let mut place = Place::default();
    let shortcuts = flags.shortcuts().into_iter().filter_map(|(flag, key, value)| Some((flag.to_owned(), key, value?)));
    let assignments = flags.set.iter().map(|set| (format!("--set {}", set.key), set.key.as_str(), set.value.as_str()));
    for (flag, key, value) in shortcuts.chain(assignments) {
        match find(key) {
            Some(setting) => place.put(setting, Given { place: flag, text: value.to_owned() }, faults),
            None => faults.push(Fault::new(flag, unknown(key, str::to_owned))),
        }
    }
    place
}

/// Why a name is not known; `spell` writes a setting's name as this place does.
pub fn unknown(name: &str, spell: impl Fn(&str) -> String) -> String {
    match nearest(name, TABLE.iter().flat_map(Setting::names)) {
        Some(meant) => format!("there is no such setting; did you mean {}?", spell(meant)),
        None => "there is no such setting; `portcullis start --help` lists all".to_owned(),
    }
}

impl Chosen {
    /// Where a setting was set and its text, if it was.
    pub fn given(&self, name: &str) -> Option<&Given> {
        self.values.get(name)
    }

    /// Where a setting was set; its own name if it was not.
    pub fn place<'a>(&'a self, name: &'a str) -> &'a str {
        self.given(name).map_or(name, |given| &given.place)
    }

    /// Reads one setting from where it was set, or its default.
    pub fn read<T>(
        &self,
        name: &str,
        default: &str,
        read: fn(&str) -> Result<T, String>,
        faults: &mut Vec<Fault>,
    ) -> Option<T> {
        let value = match self.given(name) {
            None => read(default),
            Some(given) => acceptable(name, given.text.trim()).and_then(read),
        };
        // The readers of other crates name the setting themselves; the place names it already.
        let bare = |reason: &str| reason.strip_prefix(&format!("{name}: ")).unwrap_or(reason).to_owned();
        value.map_err(|reason: String| faults.push(Fault::new(self.place(name), bare(&reason)))).ok()
    }
}

/// Refuses what no reader would see the danger of.
fn acceptable<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    if text.starts_with("{vault://") {
        Err("vault references are not read in settings; write the value itself".to_owned())
    } else if name == "admin_token" && text.is_empty() {
        // A variable that expanded to nothing must not silently become another token than meant.
        Err("it is empty; write a token, or leave it out and the gate makes one".to_owned())
    } else {
        Ok(text)
    }
}
