//! Which plugins a configuration may use.

use std::collections::BTreeSet;

use super::value::list;

/// The plugins that may be used (`plugins`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnabledPlugins {
    bundled: bool,
    named: BTreeSet<String>,
}

impl EnabledPlugins {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let mut plugins = Self::default();
        if text == "off" {
            return Ok(plugins);
        }
        for name in list(text)? {
            match name {
                "bundled" => plugins.bundled = true,
                "off" => return Err("off stands alone; write off, or the plugins to use".to_owned()),
                _ => {
                    plugins.named.insert(name.to_owned());
                }
            }
        }
        Ok(plugins)
    }

    /// Whether the bundled plugin of this name may be used.
    pub fn allows(&self, name: &str) -> bool {
        self.bundled || self.named.contains(name)
    }

    /// The plugins that are asked for by name. One that is not bundled must be reported: the table
    /// of plugins is not known here.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, jwt: bool, named: &str) {
        let found = EnabledPlugins::of(text);
        assert_eq!(found.as_ref().map(|plugins| plugins.allows("jwt")), Ok(jwt), "{text}");
        let names: Vec<_> = found.iter().flat_map(EnabledPlugins::named).collect();
        assert_eq!(names.join(" "), named, "{text}");
    }

    #[test]
    fn lists_of_plugins() {
        check("bundled", true, "");
        check("off", false, "");
        check("acl, jwt", true, "acl jwt");
        check("acl", false, "acl");
        check("bundled, ours", true, "ours");
        assert!(EnabledPlugins::of("off, jwt").is_err());
        assert!(EnabledPlugins::of("").is_err());
    }
}
