package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/promlet/promlet/deploy/recipes/played"
)

// asRecipeApp in the environment makes the test binary the program of that recipe, at the address recipeAppListen. It
// exposes what is in the file recipeAppBody at the time.
const (
	asRecipeApp     = "PROMLET_TEST_RECIPE_APP"
	recipeAppListen = "PROMLET_TEST_RECIPE_APP_LISTEN"
	recipeAppBody   = "PROMLET_TEST_RECIPE_APP_BODY"
)

func recipeApp(recipe, listen, body string) error {
	program, ok := played.Programs()[recipe]
	if !ok {
		return fmt.Errorf("there is no recipe %s", recipe)
	}
	server := &http.Server{
		Addr: listen, ReadHeaderTimeout: 10 * time.Second,
		Handler: program.Handler(func() ([]byte, error) { return os.ReadFile(body) }),
	}
	return serveUntilTold(server, server.ListenAndServe)
}
