"""The look of a report page: readable from a phone to a wide screen, and on paper."""

STYLE = """\
:root { color-scheme: light; --ink: #1c2024; --soft: #5b6570; --line: #d9dee3; --paper: #fff;
  --good: #00714f; --bad: #b3261e; --noise: #8a5a00; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.8rem, 3vw, 2.5rem) 3rem; max-width: 84rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .2rem; padding-top: .8rem;
  border-top: 2px solid var(--ink); overflow-wrap: anywhere; }
h3 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
h4 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, ul { margin: .3rem 0 .8rem; max-width: 75ch; }
ul { padding-left: 1.2rem; }
li { overflow-wrap: anywhere; }
.soft, .note, figcaption, footer { color: var(--soft); }
.note, figcaption, footer { font-size: .87rem; }
.scroll { overflow-x: auto; margin: .3rem 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; border-bottom: 2px solid var(--line);
  font-weight: 600; }
tbody th { font-weight: 600; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
th.words, td.words { text-align: left; }
td.words { min-width: 6rem; white-space: normal; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.noise { color: var(--noise); }
.figures { display: grid; gap: 1.2rem 2rem; margin: .6rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; max-width: 36rem; }
figure h3, figure h4 { margin-top: .4rem; }
figure img { display: block; width: 100%; height: auto; }
.samples { display: grid; gap: .9rem; margin: .6rem 0; padding: 0; list-style: none;
  max-width: none; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); }
.samples li { font-size: .82rem; line-height: 1.35; }
.samples img { display: block; width: 6rem; height: 6rem; object-fit: contain;
  image-rendering: pixelated; margin-bottom: .25rem; background: var(--line); }
details { margin: .5rem 0; } summary { cursor: pointer; }
nav ol { padding-left: 1.4rem; }
@media (max-width: 40rem) {
  tbody th { min-width: 8rem; max-width: 10rem; white-space: normal; }
  th, td { padding: .3rem .45rem; }
}
@media print { .scroll { overflow: visible; } }
"""
