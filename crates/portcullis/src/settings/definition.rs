//! What one setting is, and the macro that turns the list of settings into a struct and its reader.

/// One entry of the table of settings.
#[derive(Debug)]
pub struct Setting {
    /// The key in the settings file and in `--set`; upper-cased, the end of its variables.
    pub name: &'static str,
    /// The heading it stands under in the manual.
    pub section: &'static str,
    /// As it would be written; empty when there is none.
    pub default: &'static str,
    /// The lines of its doc comment; the first paragraph is the summary.
    pub doc: &'static [&'static str],
    pub origin: Origin,
}

/// Whose word a setting is.
#[derive(Debug)]
pub enum Origin {
    /// Kong has it under the same name.
    Kong,
    /// Kong has it under these names, which are read as well.
    KongAs(&'static [&'static str]),
    /// Kong has no such setting.
    Ours,
}

impl Setting {
    /// Every name it may be written under; the first is its own.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let others = match self.origin {
            Origin::KongAs(names) => names,
            Origin::Kong | Origin::Ours => &[],
        };
        std::iter::once(self.name).chain(others.iter().copied())
    }

    /// The doc comment as paragraphs, each with its line breaks.
    pub fn paragraphs(&self) -> Vec<String> {
        self.doc
            .split(|line| line.trim().is_empty())
            .map(|lines| lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n"))
            .filter(|paragraph| !paragraph.is_empty())
            .collect()
    }
}

/// Makes, of a list of settings, the struct `Settings`, its reader and the static `TABLE`.
///
/// An entry is `/// doc`, `name: Type = "default" => reader, origin;` where `reader` is a
/// `fn(&str) -> Result<Type, String>` whose error says what is wrong and what to write instead.
macro_rules! settings {
    ($($section:literal { $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal => $read:expr, $origin:expr;)+ })+) => {
        /// Every setting, read and typed.
        #[derive(Debug)]
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
        }

        /// Every setting, as the manual and the reader of names need it.
        pub static TABLE: &[Setting] = &[
            $($(Setting {
                name: stringify!($name),
                section: $section,
                default: $default,
                doc: &[$($doc),+],
                origin: $origin,
            },)+)+
        ];

        impl Settings {
            /// Reads all settings before it gives up on any, so that all mistakes are told at once.
            pub(super) fn read(chosen: &Chosen, faults: &mut Vec<Fault>) -> Option<Self> {
                $($(let $name: Option<$type> = chosen.read(stringify!($name), $default, $read, faults);)+)+
                Some(Self { $($($name: $name?,)+)+ })
            }
        }
    };
}

pub(super) use settings;
