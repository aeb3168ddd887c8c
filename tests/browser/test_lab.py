"""JupyterLab itself, as `make lab` opens it."""


def test_lab_opens_on_the_folder(jupyter):
    jupyter.write_notebook("hello.ipynb", "print(6 * 7)")
    page = jupyter.open_page("/lab?reset")
    page.wait_for_selector(".jp-DirListing-item[title*='hello.ipynb']")
    assert "JupyterLab" in page.title()


def test_a_failing_cell_is_reported(jupyter):
    page = jupyter.open_notebook(jupyter.write_notebook("fails.ipynb", "print(6 * 7)", "1 / 0"))
    jupyter.run_all(page)
    assert jupyter.errors(page) == ["ZeroDivisionError: division by zero"]
    assert page.locator(".jp-OutputArea-output").first.inner_text().strip() == "42"
