//! A configuration file while it is read: tables that are asked for their keys, and mistakes with their lines.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::limits::Unit;

/// Something wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `limits.walk_slice`; `None` where the file is not TOML.
    pub key: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.line, self.what),
            None => write!(f, "{}: {}", self.line, self.what),
        }
    }
}

/// The text of a file and what has been found wrong in it so far.
pub(super) struct Source<'t> {
    text: &'t str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, mistakes: RefCell::default() }
    }

    /// The whole file as a table; what is no TOML is noted, and the rest is read all the same.
    pub(super) fn parse(&self) -> Table<'t, '_> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            let what =
                format!("this is not TOML: {}", error.message().lines().collect::<Vec<_>>().join(", "));
            self.mistakes.borrow_mut().push(Mistake { line, key: None, what });
        }
        Table::new(self, String::new(), Item { value: table.into_inner(), at: 0 })
    }

    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    pub(super) fn wrong(&self, at: usize, key: impl Into<String>, what: impl Into<String>) {
        let (key, what) = (Some(key.into()), what.into());
        self.mistakes.borrow_mut().push(Mistake { line: self.line(at), key, what });
    }

    /// The mistakes in the order of their lines.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        let broken: Vec<usize> = mistakes.iter().filter(|it| it.key.is_none()).map(|it| it.line).collect();
        // What a line means that could not be read is not worth a further complaint.
        mistakes.retain(|mistake| mistake.key.is_none() || !broken.contains(&mistake.line));
        mistakes.sort();
        mistakes
    }
}

/// A value and where it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// A table that is asked for its keys; those that nobody asked for are mistakes.
pub(super) struct Table<'t, 's> {
    source: &'s Source<'t>,
    name: String,
    at: usize,
    entries: DeTable<'t>,
    /// The keys there could be, and those there were.
    asked: Vec<&'static str>,
    taken: Vec<&'static str>,
}

impl<'t, 's> Table<'t, 's> {
    fn new(source: &'s Source<'t>, name: String, table: Item<DeTable<'t>>) -> Self {
        let (asked, taken) = (Vec::new(), Vec::new());
        Self { source, name, at: table.at, entries: table.value, asked, taken }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A key of this table by its full name.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(super) fn wrong(&self, at: usize, key: &str, what: impl Into<String>) {
        self.source.wrong(at, self.full(key), what);
    }

    /// Notes what is wrong with the table as a whole.
    pub(super) fn wrong_itself(&self, at: usize, what: impl Into<String>) {
        self.source.wrong(at, self.name.clone(), what);
    }

    /// Where a key's value stands, if it is there.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.entries.get(key).map(|value| value.span().start)
    }

    /// Whether a key was there, whatever became of it.
    pub(super) fn has_had(&self, key: &str) -> bool {
        self.taken.contains(&key)
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.asked.push(key);
        let value = self.entries.remove(key);
        self.taken.extend(value.is_some().then_some(key));
        value
    }

    /// Takes a value that `read` understands, or notes that it is not `words`.
    fn read<T>(
        &mut self,
        key: &'static str,
        words: &str,
        read: impl FnOnce(DeValue<'t>) -> Option<T>,
    ) -> Option<Item<T>> {
        let value = self.take(key)?;
        let at = value.span().start;
        let found = value.get_ref().type_str();
        let value = read(value.into_inner());
        if value.is_none() {
            self.wrong(at, key, format!("expected {words}, found {}", with_article(found)));
        }
        value.map(|value| Item { value, at })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Item<String>> {
        self.read(key, "text in quotes", text_of)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<Item<bool>> {
        self.read(key, "true or false", |value| value.as_bool())
    }

    /// A list of texts, each with its place.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<Item<String>>> {
        let list = self.read(key, "a list of texts in brackets", array_of)?;
        let item = |value: Spanned<DeValue<'t>>| Item { at: value.span().start, value: value.into_inner() };
        let texts = list.value.into_iter().map(item).filter_map(|item| {
            let found = item.value.type_str();
            let text = text_of(item.value);
            if text.is_none() {
                self.wrong(item.at, key, format!("expected text in quotes, found {}", with_article(found)));
            }
            text.map(|value| Item { value, at: item.at })
        });
        Some(texts.collect())
    }

    /// A number written in this unit, in quotes or as it is.
    pub(super) fn amount(&mut self, key: &'static str, unit: Unit) -> Option<Item<u64>> {
        let written = self.read(key, unit.words(), written)?;
        let amount = unit.parse(&written.value);
        if amount.is_none() {
            self.wrong(written.at, key, format!("`{}` is not {}", written.value, unit.words()));
        }
        amount.map(|value| Item { value, at: written.at })
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<Item<T>> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(text.at, key, format!("`{}` is none of {}", text.value, words.join(", ")));
        }
        chosen.map(|value| Item { value, at: text.at })
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'t, 's>> {
        let table = self.read(key, "a table", table_of)?;
        Some(self.inner(key, table))
    }

    /// The tables of a list, as `[[key]]` writes them.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'t, 's>> {
        let words = format!("tables, each under [[{key}]]");
        let Some(list) = self.read(key, &words, array_of) else { return Vec::new() };
        let mut tables = Vec::new();
        for value in list.value {
            let (at, found) = (value.span().start, value.get_ref().type_str());
            match table_of(value.into_inner()) {
                Some(value) => tables.push(self.inner(key, Item { value, at })),
                None => self.wrong(at, key, format!("expected {words}, found {}", with_article(found))),
            }
        }
        tables
    }

    fn inner(&self, key: &str, table: Item<DeTable<'t>>) -> Table<'t, 's> {
        Table::new(self.source, self.full(key), table)
    }

    /// The names and the values, as they are written, of a table whose keys are looked up elsewhere.
    pub(super) fn written(mut self, words: &str) -> Vec<(Item<String>, Item<String>)> {
        let mut all = Vec::new();
        for (key, value) in std::mem::take(&mut self.entries) {
            let (span, found) = (value.span(), value.get_ref().type_str());
            let name = Item { at: key.span().start, value: key.into_inner().into_owned() };
            match written(value.into_inner()) {
                Some(value) => all.push((name, Item { value, at: span.start })),
                None => self.wrong(
                    span.start,
                    &name.value,
                    format!("expected {words}, found {}", with_article(found)),
                ),
            }
        }
        all
    }

    /// A table that is read as its derived form says, which names one mistake at the most, and where its keys stand.
    pub(super) fn derived<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<(T, Marks)> {
        let value = self.take(key)?;
        let mut marks = Marks { at: value.span().start, keys: Vec::new() };
        marks.note(&self.full(key), value.get_ref());
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(derived) => Some((derived, marks)),
            Err(error) => {
                let at = error.span().map_or(marks.at, |span| span.start);
                let line = self.source.line(at);
                let on_line = |(_, mark): &&(String, usize)| self.source.line(*mark) == line;
                let name = marks.keys.iter().rev().find(on_line).map_or(key, |(name, _)| name);
                self.source.wrong(at, without_index(name), error.message());
                None
            }
        }
    }

    /// Notes the keys that nobody has asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries.iter() {
            let what = format!("there is no such key{}", did_you_mean(key.get_ref(), &self.asked));
            let Range { start, .. } = key.span();
            self.wrong(start, key.get_ref(), what);
        }
    }
}

/// Where the keys of a table stand, however deep; those of a list's table with its number, as `auth.token[0].user`.
pub(super) struct Marks {
    at: usize,
    keys: Vec<(String, usize)>,
}

impl Marks {
    fn note(&mut self, name: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    let name = format!("{name}.{}", key.get_ref());
                    self.keys.push((name.clone(), key.span().start));
                    self.note(&name, value.get_ref());
                }
            }
            DeValue::Array(values) => {
                for (number, value) in values.iter().enumerate() {
                    let name = format!("{name}[{number}]");
                    self.keys.push((name.clone(), value.span().start));
                    self.note(&name, value.get_ref());
                }
            }
            _ => {}
        }
    }

    /// Notes what is wrong, written as `key: what`, on the line of the key, or of what it would stand in.
    pub(super) fn wrong(&self, source: &Source<'_>, wrong: &str) {
        let (name, what) = wrong.split_once(": ").unwrap_or(("", wrong));
        let mut near = name;
        let at = loop {
            match (self.keys.iter().find(|(known, _)| known == near), near.rfind(['.', '['])) {
                (Some((_, at)), _) => break *at,
                (None, Some(end)) => near = &near[..end],
                (None, None) => break self.at,
            }
        };
        source.wrong(at, without_index(name), what);
    }
}

/// `auth.token.user` from `auth.token[0].user`.
fn without_index(name: &str) -> String {
    name.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

fn text_of(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        _ => None,
    }
}

fn array_of<'t>(value: DeValue<'t>) -> Option<Vec<Spanned<DeValue<'t>>>> {
    match value {
        DeValue::Array(array) => Some(array.into_iter().collect()),
        _ => None,
    }
}

fn table_of<'t>(value: DeValue<'t>) -> Option<DeTable<'t>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// A number or a text, as it is written; `0x10` as 16.
fn written(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.to_string()),
            Err(_) => Some(number.to_string()),
        },
        _ => None,
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// ``, did you mean `x`?``, where one of the names there are is nearly this one.
pub(super) fn did_you_mean<'n>(name: &str, names: impl IntoIterator<Item = &'n &'n str>) -> String {
    let near = |known: &&'n &str| strsim::damerau_levenshtein(name, known) <= known.len().div_ceil(4);
    let nearest = names.into_iter().filter(near).min_by_key(|known| strsim::damerau_levenshtein(name, known));
    nearest.map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}
