//! A page as one HTML file.

use super::{Block, Cell, Column, Emphasis, Figure, Headline, Note, Page, PictureRow, Span, Table};
use super::{Text, Tone};
use crate::report::drawing::Tile;
use crate::report::raster::png;
use crate::report::svg::{base64, escaped};

const STYLE: &str = include_str!("style.css");

/// Nothing but what the file itself holds: a page that is opened asks nothing of the network.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

impl Page {
    /// The text of the file.
    pub fn to_html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n\
             <p class=\"kicker\">{kicker}</p>\n<h1>{title}</h1>\n",
            title = escaped(&self.title),
            kicker = escaped(&self.kicker),
        );
        if !self.lede.is_empty() {
            html += &format!("<p class=\"lede\">{}</p>\n", text(&self.lede));
        }
        html += "</header>\n";
        self.blocks.iter().for_each(|block| add(&mut html, block));
        if !self.provenance.is_empty() {
            html += "<footer>\n";
            facts(&mut html, &self.provenance);
            html += "</footer>\n";
        }
        html + "</main>\n</body>\n</html>\n"
    }
}

fn add(html: &mut String, block: &Block) {
    match block {
        Block::Heading(head) => *html += &format!("<h2>{}</h2>\n", escaped(head)),
        Block::Subheading(head) => *html += &format!("<h3>{}</h3>\n", escaped(head)),
        Block::Paragraph(words) => *html += &format!("<p>{}</p>\n", text(words)),
        Block::Headlines(headlines) => add_headlines(html, headlines),
        Block::Note(note) => add_note(html, note),
        Block::Facts(list) => facts(html, list),
        Block::Table(table) => add_table(html, table),
        Block::Figures(figures) => add_figures(html, figures),
        Block::Pictures(rows) => add_pictures(html, rows),
        Block::Code(lines) => *html += &format!("<pre><code>{}</code></pre>\n", escaped(lines)),
        Block::Folded { summary, blocks } => {
            *html += &format!("<details>\n<summary>{}</summary>\n", escaped(summary));
            blocks.iter().for_each(|block| add(html, block));
            *html += "</details>\n";
        }
    }
}

fn text(text: &Text) -> String {
    let span = |span: &Span| match span {
        Span::Plain(words) => escaped(words),
        Span::Strong(words) => format!("<strong>{}</strong>", escaped(words)),
        Span::Quiet(words) => format!("<span class=\"quiet\">{}</span>", escaped(words)),
        Span::Code(words) => format!("<code>{}</code>", escaped(words)),
        Span::Link { text, target } => {
            format!("<a href=\"{}\">{}</a>", escaped(target), escaped(text))
        }
    };
    text.0.iter().map(span).collect()
}

fn add_headlines(html: &mut String, headlines: &[Headline]) {
    *html += "<div class=\"headlines\">\n";
    for Headline { value, label, detail } in headlines {
        *html += &format!(
            "<div><p class=\"value\">{}</p><p class=\"label\">{}</p><p class=\"detail\">{}</p></div>\n",
            escaped(value),
            escaped(label),
            escaped(detail)
        );
    }
    *html += "</div>\n";
}

fn add_note(html: &mut String, Note { tone, title, text: words }: &Note) {
    let class = match tone {
        Tone::Good => "good",
        Tone::Neutral => "neutral",
        Tone::Warning => "warning",
        Tone::Failure => "failure",
    };
    *html += &format!(
        "<aside class=\"{class}\"><p class=\"title\">{}</p><p>{}</p></aside>\n",
        escaped(title),
        text(words)
    );
}

fn facts(html: &mut String, list: &[(String, Text)]) {
    *html += "<dl>\n";
    for (name, value) in list {
        *html += &format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), text(value));
    }
    *html += "</dl>\n";
}

fn add_table(html: &mut String, table: &Table) {
    *html += "<figure class=\"table\">\n";
    if !table.caption.is_empty() {
        *html += &format!("<figcaption>{}</figcaption>\n", escaped(&table.caption));
    }
    // A box that scrolls must be reachable by keyboard.
    *html += "<div class=\"box\" tabindex=\"0\"><table>\n<thead><tr>";
    for column in &table.columns {
        *html += &format!("<th{}>{}</th>", class(column), escaped(column.head()));
    }
    *html += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        *html += "<tr>";
        for (column, Cell { text: words, detail, emphasis }) in table.columns.iter().zip(row) {
            let mut words = text(words);
            if *emphasis == Emphasis::Strong {
                words = format!("<strong>{words}</strong>");
            }
            if !detail.is_empty() {
                words += &format!(" <small>{}</small>", escaped(detail));
            }
            *html += &format!("<td{}>{words}</td>", class(column));
        }
        *html += "</tr>\n";
    }
    *html += "</tbody>\n</table></div>\n</figure>\n";
}

fn class(column: &Column) -> &'static str {
    match column {
        Column::Words(_) => "",
        Column::Numbers(_) => " class=\"number\"",
    }
}

fn add_figures(html: &mut String, figures: &[Figure]) {
    *html += "<div class=\"figures\">\n";
    for figure in figures {
        *html += &match figure {
            Figure::Chart(chart) => chart.to_html(),
            Figure::Rows(rows) => rows.to_html(),
        };
    }
    *html += "</div>\n";
}

fn add_pictures(html: &mut String, rows: &[PictureRow]) {
    *html += "<div class=\"pictures\">\n";
    for row in rows {
        *html += "<div class=\"strip\">\n";
        for picture in &row.pictures {
            *html += &format!(
                "<figure><p class=\"head\">{}</p>{}<figcaption>{}</figcaption></figure>\n",
                escaped(&picture.head),
                image(&picture.tile, &picture.head),
                text(&picture.caption)
            );
        }
        *html += "</div>\n";
    }
    *html += "</div>\n";
}

fn image(tile: &Tile, about: &str) -> String {
    let bytes: Vec<u8> = tile.pixels.iter().flat_map(|color| color.0).collect();
    format!(
        "<img width=\"{}\" height=\"{}\" alt=\"{}\" src=\"data:image/png;base64,{}\">",
        tile.width,
        tile.height,
        escaped(about),
        base64(&png(tile.width, tile.height, &bytes))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::{Axis, Chart, Curve, Hue, Mark, Point};
    use crate::report::drawing::Color;
    use crate::report::page::Picture;

    fn page() -> Page {
        let mut page = Page::new("a <kind>", "A & B", "said \"so\"");
        page.heading("Part");
        page.headlines(Vec::new());
        page.note(Tone::Warning, "zero-gradients", "why");
        let mut table = Table::new("caption", vec![Column::words("who"), Column::numbers("n")]);
        table.row(vec!["x<y".into(), Cell::from("1").with_detail("0 – 2").strong()]);
        page.table(table);
        let points = (0..9).map(|x| Point::at(f64::from(x), 0.1 * f64::from(x)).within([0.0, 0.9]));
        let curve = Curve::new("robust", Hue::Adversarial, Mark::Line, points.collect());
        let chart = Chart::new("title", "note", Axis::numbers("step"), Axis::shares("accuracy"));
        page.figures(vec![chart.curve(curve).wide().into()]);
        let tile = Tile { width: 1, height: 1, pixels: vec![Color::INK] };
        let picture = Picture { tile, head: "image".into(), caption: "cat".into() };
        page.pictures(vec![PictureRow { pictures: vec![picture] }]);
        page.source("machine", "this");
        page
    }

    #[test]
    fn a_page_asks_nothing_of_the_network_and_holds_no_script() {
        let html = page().to_html();
        for word in ["http:", "https:", "<script", "<link", "@import", "url("] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("default-src 'none'"));
        assert!(html.len() < 16_000, "{} bytes", html.len());
    }

    #[test]
    fn what_is_said_stands_there_and_letters_that_mean_something_are_entities() {
        let html = page().to_html();
        for text in [
            "a &lt;kind&gt;",
            "<h1>A &amp; B</h1>",
            "said &quot;so&quot;",
            "<td>x&lt;y</td>",
            "<td class=\"number\"><strong>1</strong> <small>0 – 2</small></td>",
            "class=\"band f1\"",
            "data:image/png;base64,",
            "<aside class=\"warning\">",
            "<dt>machine</dt><dd>this</dd>",
        ] {
            assert!(html.contains(text), "{text}");
        }
        // Drawn for broad and for narrow screens.
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(!html.contains("class=\"headlines\""), "an empty block leaves nothing");
    }
}
