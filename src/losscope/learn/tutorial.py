# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""The notebook: one chapter at a time, the controls that move it, and what follows from them.

The mathematics stands in ``chapters``, one module for each.
"""

import marimo

app = marimo.App(
    width="medium", app_title="losscope: from raw outputs to a loss", css_file="page.css", html_head_file="head.html"
)


@app.cell
def _():
    import marimo as mo

    from losscope.learn import contents, page
    from losscope.learn.chapters import CHAPTERS
    from losscope.learn.controls import controls as every_control

    return CHAPTERS, contents, every_control, mo, page


@app.cell
def _(contents, mo):
    get_name, set_name = mo.state(contents.first(mo.query_params().get("chapter")))
    return get_name, set_name


@app.cell
def _(get_name):
    name = get_name()
    return (name,)


@app.cell
def _(page):
    page.notation()
    return


@app.cell
def _(contents, name, set_name):
    ways = contents.ways(name, set_name)
    return (ways,)


@app.cell
def _(contents, name, ways):
    contents.heading(name, ways)
    return


@app.cell
def _(every_control):
    controls = every_control()
    return (controls,)


@app.cell
def _(CHAPTERS, controls, name):
    views = CHAPTERS[name].views(controls.value)
    return (views,)


@app.cell
def _(controls, name, page, views):
    page.parts(name, controls, views)
    return


@app.cell
def _(contents, ways):
    contents.onwards(ways)
    return


if __name__ == "__main__":
    app.run()
