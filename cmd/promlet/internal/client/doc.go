// Package client has the commands that read a running promlet, or a configuration file, and serve nothing: top, metrics,
// explain and check. They are commands of promlet, and of its kubectl plugin.
//
// [Commands] returns them with their flags by section. [NewPlugin] returns them under the name of kubectl promlet.
//
// top, metrics and explain ask the custom and the external metrics API through the Kubernetes API server, found as kubectl
// finds it and with the permissions of whoever runs the command. top and metrics work with any implementation of these APIs;
// explain needs promlet's. check reads a file and asks nothing.
//
// Each command writes its answer to the command's output and returns everything that went wrong as an error: the caller
// prints it and exits. No command retries, except top --watch, which asks again until its context is done.
//
// The package needs the adapter for its types, and neither the scraper nor the status pages.
package client
