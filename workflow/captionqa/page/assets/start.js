// Starts the page once its data are there.
"use strict";

let page;
Promise.all([load("overview"), load("run")]).then(([overview, run]) => {
  page = overview.data_sets ? new DataSetsPage(overview, run) : new Page(overview, run);
  page.start();
}).catch((error) => {
  document.getElementById("main").append(make("p", { class: "message" }, error.message));
});
