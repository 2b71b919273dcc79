"""The style of the Dataset's report, beside that of all reports (`core/report.html.jinja`)."""

from markupsafe import Markup

_CSS = """
.spark { display: block; height: 36px; width: 144px; }
.spark path { fill: none; stroke-width: 1.4; }
.spark .train { fill: #2a6f9755; stroke: none; }
.spark .validation { stroke: #e09f3e; }
.spark .test { stroke: #9e2a2b; }
.key i { display: inline-block; height: .8rem; margin: 0 .3rem 0 .9rem; vertical-align: -.08rem; width: .8rem; }
.badge {
  border-radius: .6rem; color: #fff; font-size: .8rem; font-weight: 600; padding: .05rem .5rem; white-space: nowrap;
}
.serious { background: #9e2a2b; }
.warning { background: #b36b00; }
.note { background: #5c6675; }
code { background: #f6f8fa; overflow-wrap: anywhere; padding: .05rem .3rem; }
summary { color: #5c6675; cursor: pointer; }
dl.findings dt { margin-top: .7rem; overflow-wrap: anywhere; }
dl.findings dd { color: #5c6675; margin: .15rem 0 0 0; }
dl.findings a { color: inherit; }
.columns { width: 100%; }
.columns td { font-size: .85rem; padding-right: .7rem; }
.columns td td { padding: .1rem .6rem .1rem 0; }
.columns small { color: #5c6675; display: block; }
.columns li small { display: inline; }
.columns ul { margin: .3rem 0; padding-left: 1rem; }
.columns > tbody > tr:target > td { background: #fff6db; }
.columns > tbody > tr > td:nth-child(1) { max-width: 15rem; min-width: 7rem; overflow-wrap: anywhere; }
.columns > tbody > tr > td:nth-child(3) { min-width: 9rem; overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  .columns > thead { display: none; }
  .columns > tbody > tr {
    border-bottom: 1px solid #dfe4ea; display: grid; grid-template-columns: minmax(0, 1fr) 144px; padding: .4rem 0;
  }
  .columns > tbody > tr > td { border: 0; max-width: none; min-width: 0; padding: .1rem .5rem .1rem 0; }
  .columns > tbody > tr > td:nth-child(n + 3) { grid-column: 1 / -1; }
  .columns > tbody > tr > td:nth-child(4)::before { content: "missing "; }
  .columns > tbody > tr > td:nth-child(5)::before { content: "predicts "; }
  .columns > tbody > tr > td:nth-child(6)::before { content: "drift "; }
}
"""
STYLE = Markup("<style>{}</style>").format(Markup(_CSS))  # noqa: S704  # our own text
