/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about a check that fails: the first row that fits. Pure. */
#include "daemon/checks.h"

#define ANY (-1)

static const struct {
    int check; /* or ANY */
    enum err code;
    const char *hint;
} row[] = {
    { CHECK_REDIS, ERR_REDIS_LOST,
      "look whether it runs (systemctl status sluice-redis) and redis.url names it" },
    { CHECK_REDIS, ERR_CONNECT,
      "look whether it runs (systemctl status sluice-redis) and redis.url names it" },
    { CHECK_REDIS, ERR_REDIS_BUSY,
      "wait while it loads its files; its log says how far it is" },
    { CHECK_REDIS, ERR_REDIS_FULL,
      "raise maxmemory or free its disk; work in hand goes on, nothing is lost" },
    { CHECK_REDIS, ERR_REDIS_ROLE, "point redis.url at the master, or promote this one" },
    { CHECK_REDIS, ERR_REDIS_DENIED,
      "compare the user's rules with README.md, \"Redis\"; a new password is read by itself" },
    { CHECK_REDIS, ERR_REDIS_LIBRARY,
      "load it as an administrator: redis-cli -x FUNCTION LOAD REPLACE < queue.lua" },
    { CHECK_REDIS, ERR_REDIS_UNFIT, "set appendonly yes and maxmemory-policy noeviction" },
    { CHECK_S3, ERR_DENIED, "compare the key's rights with README.md, \"IAM policy\"" },
    { CHECK_S3, ERR_AUTH, "check the key in s3.credentials_file and s3.region, then restart" },
    { CHECK_S3, ERR_NOT_FOUND, "check s3.bucket; sluiced makes no bucket" },
    { CHECK_S3, ERR_REGION, "set s3.region and s3.endpoint to the bucket's region" },
    { CHECK_S3, ERR_SKEW, "set this machine's clock: timedatectl" },
    { CHECK_IMS, ERR_CREDENTIAL,
      "look at the credential in the Developer Console: secret, scopes, organisation" },
    { CHECK_IMS, ERR_DENIED,
      "look at the credential in the Developer Console: secret, scopes, organisation" },
    { CHECK_IMS, ERR_SECRET, "make the secret's file readable for this service alone (0600)" },
    { CHECK_CATALOG, ERR_DENIED,
      "give the credential a role that may view datasets of this sandbox; sluicectl doctor" },
    { CHECK_ACCESS, ERR_DENIED,
      "give the credential a role that may read this dataset; sluicectl doctor" },
    { CHECK_ACCESS, ERR_THROTTLED, "lower aep.requests_per_second; it goes on by itself" },
    { CHECK_CATALOG, ERR_THROTTLED, "lower aep.requests_per_second; it goes on by itself" },
    { ANY, ERR_RESOLVE, "check the name of the endpoint, and DNS: getent hosts NAME" },
    { ANY, ERR_CONNECT, "check endpoint, proxy and firewall; it goes on by itself" },
    { ANY, ERR_TLS, "check the endpoint's name and certificate, ca_file, and this clock" },
    { ANY, ERR_TIMEOUT, "check the network to it; it is tried again by itself" },
    { ANY, ERR_CUT, "check the network to it; it is tried again by itself" },
    { ANY, ERR_SERVER, "wait: the service fails, it is tried again by itself" },
    { ANY, ERR_THROTTLED, "wait: the service is busy, it is tried again by itself" },
    { ANY, ERR_REDIRECT, "set the endpoint to where it redirects, if that is right" },
    { ANY, ERR_SECRET, "make the file readable for this service alone (0600)" },
};

const char *check_hint(size_t check, enum err code)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].code == code && (row[i].check == ANY || row[i].check == (int)check))
            return row[i].hint;
    return NULL;
}
