// A site whose links are all followed by Unpoly.
up.link.config.followSelectors.push("a[href]");
