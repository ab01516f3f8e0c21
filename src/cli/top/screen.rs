//! The screen of `fanline top`: figures above, the slowest readers and the largest rooms below, a curve of each rate.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;

use super::super::ask::room_of;
use super::super::show::{bytes, number, text, time};
use super::super::{Failure, PEER_SORTS};
use super::{Client, Look, View, look, rate, view};

/// Seconds, or rather looks, that a curve goes back.
const HISTORY: usize = 240;

/// What is on the screen.
struct Screen {
    view: View,
    look: Option<Look>,
    curves: [(&'static str, &'static str, VecDeque<u64>); 3],
    sort: usize,
    /// Why the last look has failed.
    trouble: Option<String>,
}

/// Shows the server until `q` is pressed; the terminal is then as it was before.
pub(super) fn watch(client: &Client, interval: Duration, sort: &str) -> Result<(), Failure> {
    let mut screen = Screen::new(sort);
    // Where there is nothing to be seen at all, the terminal stays as it is.
    screen.take(look(client, PEER_SORTS[screen.sort]))?;
    let terminal = ratatui::try_init().map_err(|error| {
        Failure(format!("there is no terminal to draw in ({error}); --once prints a look"))
    })?;
    let shown = run(terminal, client, interval, &mut screen);
    ratatui::try_restore()?;
    Ok(shown?)
}

fn run(
    mut terminal: DefaultTerminal,
    client: &Client,
    interval: Duration,
    screen: &mut Screen,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        if event::poll(interval)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Char('s') => screen.sort = (screen.sort + 1) % PEER_SORTS.len(),
                    _ => continue,
                },
                // Drawn anew in the new size.
                _ => continue,
            }
        }
        let found = look(client, PEER_SORTS[screen.sort]);
        if let Err(Failure(why)) = screen.take(found) {
            screen.trouble = Some(why.lines().next().unwrap_or_default().to_owned());
        }
    }
}

impl Screen {
    /// Columns that a figure takes up with its name, so that those of all groups stand below each other.
    const CELL: usize = 26;

    fn new(sort: &str) -> Self {
        let curve = |name, pointer| (name, pointer, VecDeque::new());
        Self {
            view: View::default(),
            look: None,
            curves: [
                curve("messages in /s", "/counters/messages"),
                curve("publications /s", "/counters/publications"),
                curve("deliveries /s", "/ledger/outcomes/sent"),
            ],
            sort: PEER_SORTS.iter().position(|known| *known == sort).unwrap_or(0),
            trouble: None,
        }
    }

    /// Takes a look in, if it has found something.
    fn take(&mut self, found: Result<Look, Failure>) -> Result<(), Failure> {
        let found = found?;
        let before = self.look.as_ref().map_or(&Value::Null, |look| &look.status);
        self.view = view(before, &found.status);
        for (_, pointer, curve) in &mut self.curves {
            if let Some(rate) = rate(before, &found.status, pointer) {
                curve.push_back(rate.round() as u64);
            }
            if curve.len() > HISTORY {
                curve.pop_front();
            }
        }
        self.look = Some(found);
        self.trouble = None;
        Ok(())
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let figures = self.view.figures.len() as u16;
        let [title, above, curves, below, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(figures + 1),
            Constraint::Length(5),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Line::styled(self.view.title.clone(), Modifier::BOLD), title);
        self.draw_figures(frame, above);
        let columns = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2).split(curves);
        for ((name, _, curve), area) in self.curves.iter().zip(columns.iter()) {
            draw_curve(frame, *area, name, curve);
        }
        let [left, right] =
            Layout::horizontal([Constraint::Fill(5), Constraint::Fill(3)]).spacing(2).areas(below);
        self.draw_tables(frame, left, right);
        let help = format!("q ends   s sorts connections (now by {})", PEER_SORTS[self.sort]);
        let foot_line = match &self.trouble {
            Some(why) => Line::styled(why.clone(), Style::new().fg(Color::Red)),
            None => Line::styled(help, Modifier::DIM),
        };
        frame.render_widget(foot_line, foot);
    }

    fn draw_figures(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines = self.view.figures.iter().map(|(group, figures)| {
            let mut spans = vec![Span::styled(format!("{group:<10}"), Modifier::DIM)];
            for (name, value) in figures {
                spans.push(Span::styled(format!("{name} "), Modifier::DIM));
                let width = Self::CELL.saturating_sub(name.len() + 1);
                spans.push(Span::raw(format!("{value:<width$} ")));
            }
            Line::from(spans)
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }

    fn draw_tables(&self, frame: &mut Frame<'_>, left: Rect, right: Rect) {
        let Some(Look { peers, rooms, .. }) = &self.look else { return };
        let peers: Vec<_> = peers.iter().map(peer_cells).collect();
        let titles = ["ID", "ADDRESS", "USER", "ROOM", "LAG", "DELAY", "OWED", "AGE"];
        draw_table(frame, left, "connections", (titles, 4), &peers);
        let rooms: Vec<_> = rooms.iter().map(room_cells).collect();
        draw_table(frame, right, "rooms", (["ROOM", "MEMBERS", "LAGGING", "PUBLICATIONS"], 1), &rooms);
    }
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, name: &str, curve: &VecDeque<u64>) {
    let now = curve.back().map_or("-".to_owned(), u64::to_string);
    let most = curve.iter().max().copied().unwrap_or(0);
    let block = Block::new().borders(Borders::TOP).title(format!(" {name}: {now}, at most {most} "));
    let width = area.width as usize;
    let shown: Vec<u64> = curve.iter().skip(curve.len().saturating_sub(width)).copied().collect();
    let line = Sparkline::default().block(block).data(shown).style(Style::new().fg(Color::Cyan));
    frame.render_widget(line, area);
}

/// A table whose columns from `figures` on are numbers.
fn draw_table<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    (titles, figures): ([&str; N], usize),
    rows: &[[String; N]],
) {
    let block = Block::new().borders(Borders::TOP).title(format!(" {name} "));
    if rows.is_empty() {
        return frame.render_widget(Paragraph::new("none").block(block), area);
    }
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([titles[at].len()]).max().unwrap_or(0).min(24) as u16
    };
    let cell = |(at, text): (usize, &str)| {
        let align = if at >= figures { Alignment::Right } else { Alignment::Left };
        Cell::from(Line::from(text.to_owned()).alignment(align))
    };
    let head = Row::new(titles.into_iter().enumerate().map(cell)).style(Modifier::DIM);
    let body = rows.iter().map(|row| Row::new(row.iter().map(String::as_str).enumerate().map(cell)));
    let table =
        Table::new(body, (0..N).map(|at| Constraint::Length(width(at)))).header(head).column_spacing(2);
    frame.render_widget(table.block(block), area);
}

/// A connection as a row of the screen.
fn peer_cells(peer: &Value) -> [String; 8] {
    [
        text(&peer["id"]),
        text(&peer["address"]),
        text(&peer["user"]),
        room_of(peer),
        number(&peer["lag"]).to_string(),
        time(number(&peer["delay_ms"])),
        bytes(number(&peer["owed_bytes"])),
        time(number(&peer["age_ms"])),
    ]
}

/// A room as a row of the screen.
fn room_cells(room: &Value) -> [String; 4] {
    let count = |name: &str| number(&room[name]).to_string();
    [text(&room["room"]), count("members"), count("lagging"), count("publications")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn status(now_ms: u64, messages: u64) -> Value {
        json!({
            "version": "1.2.3", "pid": 7, "now_ms": now_ms, "started_ms": 0, "uptime_ms": now_ms, "ready": true,
            "connections": 3, "counters": { "messages": messages, "publications": 0 },
        })
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_has_figures_curves_and_tables_in_any_size() {
        let mut screen = Screen::new("lag");
        let peer =
            json!({ "id": "17.4", "user": "mary", "rooms": ["lobby"], "rooms_total": 1, "lag": 12345 });
        let room = json!({ "room": "lobby", "members": 9 });
        for (now_ms, messages) in [(1000, 0), (2000, 50)] {
            let look = Look {
                status: status(now_ms, messages),
                peers: vec![peer.clone()],
                rooms: vec![room.clone()],
            };
            screen.take(Ok(look)).unwrap();
        }
        let shown = drawn(&screen, 140, 24);
        for part in [
            "fanline 1.2.3",
            "messages 50/s",
            "messages in /s: 50, at most 50",
            "17.4",
            "12345",
            "lobby",
            "by lag",
        ] {
            assert!(shown.contains(part), "no {part} in\n{shown}");
        }
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            drawn(&screen, width, height);
        }
    }

    #[test]
    fn where_a_look_fails_the_last_one_stays_and_the_foot_says_why() {
        let mut screen = Screen::new("id");
        screen.take(Ok(Look { status: status(1000, 0), peers: Vec::new(), rooms: Vec::new() })).unwrap();
        assert!(screen.take(Err(Failure("gone".to_owned()))).is_err());
        screen.trouble = Some("gone".to_owned());
        let shown = drawn(&screen, 100, 20);
        assert!(
            shown.contains("connections 3") && shown.contains("gone") && shown.contains("none"),
            "{shown}"
        );
    }
}
